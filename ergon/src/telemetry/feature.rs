//! Defines functions that have an effect only with the feature `opentelemetry`, so that other code needs no `cfg`.

/// Defines each function once. With the feature `opentelemetry` a function has its own body. Without the feature its body
/// is the block after `else`, so that the program contains no code of it.
macro_rules! with_opentelemetry {
    (
        else $off:block
        $($(#[$attribute:meta])* $visible:vis fn $name:ident $parameters:tt $(-> $returns:ty)? $body:block)*
    ) => {$(
        #[cfg(feature = "opentelemetry")]
        $(#[$attribute])*
        $visible fn $name $parameters $(-> $returns)? $body

        #[cfg(not(feature = "opentelemetry"))]
        $(#[$attribute])*
        #[allow(
            unused_mut,
            unused_variables,
            clippy::default_trait_access,
            clippy::needless_pass_by_ref_mut,
            clippy::needless_pass_by_value,
            clippy::trivially_copy_pass_by_ref,
            clippy::unnecessary_wraps,
            clippy::unused_self,
            reason = "the signature is that of the feature"
        )]
        $visible fn $name $parameters $(-> $returns)? $off
    )*};
}

pub(crate) use with_opentelemetry;
