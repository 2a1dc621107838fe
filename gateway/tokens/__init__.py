"""Who may do what with the registry over HTTP: roles, tokens, the trail of what was changed."""
