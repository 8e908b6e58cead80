SELECT to_regnamespace(quote_ident(@schema)) IS NOT NULL
