//! Unwraps the fragments of a `macro_rules!`, so that a user's macro can write an attribute. Fragments such as
//! `$ty:ty`, `$value:expr` and `$text:literal` are groups without a delimiter.

use syn::{Expr, Type};

/// Returns the expression inside a group without a delimiter. An operation stays in its group, which sets its
/// precedence.
pub(crate) fn ungrouped(expr: Expr) -> Expr {
    match expr {
        Expr::Group(group) => match *group.expr {
            inner @ (Expr::Lit(_) | Expr::Path(_) | Expr::Array(_) | Expr::Tuple(_) | Expr::Group(_)) => {
                ungrouped(inner)
            }
            inner => Expr::Group(syn::ExprGroup { expr: Box::new(inner), ..group }),
        },
        other => other,
    }
}

/// Returns the type inside a group without a delimiter.
pub(crate) fn ungrouped_type(ty: Type) -> Type {
    match ty {
        Type::Group(group) => ungrouped_type(*group.elem),
        other => other,
    }
}

/// Returns the type inside a group without a delimiter, for a borrowed type.
pub(crate) fn in_type(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => in_type(&group.elem),
        other => other,
    }
}
