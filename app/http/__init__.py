"""HTTP itself: what a request goes through before and after an endpoint, and the pages."""
