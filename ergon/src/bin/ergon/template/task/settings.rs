    /// The source of `{{task}}`.
    pub(crate) {{module}}_input: JsonLinesConfig,
    /// The sink of `{{task}}`.
    pub(crate) {{module}}_output: JsonLinesConfig,
    /// The dead letters of `{{task}}`.
    pub(crate) {{module}}_refused: JsonLinesConfig,
