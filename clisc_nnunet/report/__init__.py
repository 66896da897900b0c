"""Pictures of what the software found."""
