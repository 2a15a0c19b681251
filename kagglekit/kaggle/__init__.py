"""From Kaggle and back, through the official client: credentials, download, submission, ledger.

Importing it loads neither that client nor requests; both are loaded when Kaggle is asked something.
"""
