"""Context payments: prices, holds on cards, captures, refunds, invoices and the ledger."""
