"""Who may see what: sharing policies, and the one function that decides by them."""
