"""CAP, distributors, webhooks and events over HTTP."""
