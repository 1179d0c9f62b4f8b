//! Fragments of a `macro_rules!`: `$ty:ty`, `$value:expr` and `$text:literal` arrive in groups without a delimiter.

use syn::{Expr, Type};

/// The expression inside a group without a delimiter; an operation stays in its group, which says what comes first.
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

/// The type inside a group without a delimiter.
pub(crate) fn ungrouped_type(ty: Type) -> Type {
    match ty {
        Type::Group(group) => ungrouped_type(*group.elem),
        other => other,
    }
}

/// The same of a type that is borrowed.
pub(crate) fn in_type(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => in_type(&group.elem),
        other => other,
    }
}
