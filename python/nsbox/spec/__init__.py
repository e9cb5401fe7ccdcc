"""What the caller asks for, checked before anything is started."""
