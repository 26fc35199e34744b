"""The documentation: the OpenAPI document, and the pages made from it."""
