"""Kaggle, through its official client: credentials, download, submission, ledger.

Importing it loads neither the client nor requests; both are loaded at the first request.
"""
