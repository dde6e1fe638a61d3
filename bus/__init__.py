"""The ground floor: the log between the stages and the messages that travel on it. Imports no other room."""
