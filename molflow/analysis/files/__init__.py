"""Files of any program: what is read, how, and which are the user's own."""
