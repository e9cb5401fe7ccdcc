yes 'A line without an end.'
