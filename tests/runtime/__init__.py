"""The product as it is deployed, in the genuine runtime: Microsoft's azure-functions-runtime on Python 3.13."""
