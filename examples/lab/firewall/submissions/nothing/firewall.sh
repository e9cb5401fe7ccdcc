# I could not find out how.
