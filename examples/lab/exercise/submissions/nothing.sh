# I have not started yet
