-- The tracker's tables lie apart from the ledger's: both count their migrations in a table of the same name.
CREATE DATABASE tracking;
