    /// Where the transactions of `{{task}}` come from.
    pub(crate) {{module}}_input: JsonLinesConfig,
    /// Where what `{{task}}` makes of them goes.
    pub(crate) {{module}}_output: JsonLinesConfig,
    /// Where `{{task}}` puts what it refuses.
    pub(crate) {{module}}_refused: JsonLinesConfig,
