"""One module a question; each opens with the question, the command, the runtime and what to expect."""
