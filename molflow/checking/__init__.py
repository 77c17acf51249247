"""Does a trained map do what it claims? One property a module, each with a number and a limit."""
