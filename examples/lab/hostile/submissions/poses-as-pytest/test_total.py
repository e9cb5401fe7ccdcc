def test_two_numbers():
    pass
