"""What is recorded of requests and told to operators: metrics and logs."""
