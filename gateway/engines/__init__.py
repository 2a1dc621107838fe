"""vLLM servers, local or remote: started, watched, asked; and the forms they can load."""
