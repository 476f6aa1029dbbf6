"""A trained flow as a service: what is served, how it is published, run and asked."""
