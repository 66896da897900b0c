"""The only code that opens references: scores of results and of every stage."""
