"""What commands share: the client of the API, options, output."""
