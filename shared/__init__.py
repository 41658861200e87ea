"""The product: keeps an organization cache database in step with Microsoft 365 organizations."""
