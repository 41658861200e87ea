"""What leaves over HTTP: the request's wrapping, its errors, and the views of the one record."""
