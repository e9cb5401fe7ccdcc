# Loaded at the first completion of nsbox.
nsbox completion fish | source
