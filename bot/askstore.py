"""The asks in SQL, one short transaction per call. No question is stored."""
