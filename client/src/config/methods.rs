//! Which `methodConfig` entry a call gets: the method's own, else its service's, else everyone's.

use std::collections::HashMap;
use std::sync::Arc;

use super::MethodConfig;

/// What an entry of `name` selects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Name {
    All,
    Service(String),
    Method(String, String),
}

/// Method configs by name, ready for look-up by request path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Methods {
    /// Keyed by `service/method`, `service/` or, for the entry that covers all, the empty string.
    by_path: HashMap<Box<str>, Arc<MethodConfig>>,
    fallback: Arc<MethodConfig>,
}

impl Methods {
    /// The config for a request path such as `/account.v1.AccountService/Reserve`.
    pub(crate) fn get(&self, path: &str) -> &Arc<MethodConfig> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let service = path.rfind('/').map_or("", |slash| &path[..=slash]);
        let found = self.by_path.get(path).or_else(|| self.by_path.get(service));
        found.unwrap_or(&self.fallback)
    }

    /// The methods named one by one, as `service/method`.
    pub(crate) fn named(&self) -> impl Iterator<Item = &str> {
        let is_method = |path: &&str| !path.is_empty() && !path.ends_with('/');
        self.by_path.keys().map(|path| &**path).filter(is_method)
    }

    /// Adds an entry. False when the name is taken: gRFC A2 forbids two entries for one name.
    pub(super) fn insert(&mut self, name: &Name, config: Arc<MethodConfig>) -> bool {
        let key = match name {
            Name::All => String::new(),
            Name::Service(service) => format!("{service}/"),
            Name::Method(service, method) => format!("{service}/{method}"),
        };
        if *name == Name::All {
            self.fallback = Arc::clone(&config);
        }
        self.by_path.insert(key.into_boxed_str(), config).is_none()
    }
}
