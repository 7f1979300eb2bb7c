"""What is measured about the service, each by one command."""
