//! The components that the operator runs.

/// A component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Role {
    Compactor,
    Distributor,
    Ingester,
    Querier,
    QueryFrontend,
    MetricsGenerator,
    Gateway,
}

impl Role {
    /// Every component, those that a stack need not have at the end.
    pub(crate) const ALL: [Self; 7] = [
        Self::Compactor,
        Self::Distributor,
        Self::Ingester,
        Self::Querier,
        Self::QueryFrontend,
        Self::MetricsGenerator,
        Self::Gateway,
    ];

    /// As in `-target`, labels and names of objects.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Compactor => "compactor",
            Self::Distributor => "distributor",
            Self::Ingester => "ingester",
            Self::Querier => "querier",
            Self::QueryFrontend => "query-frontend",
            Self::MetricsGenerator => "metrics-generator",
            Self::Gateway => "gateway",
        }
    }

    /// Whether a stack may do without it.
    pub(crate) const fn is_optional(self) -> bool {
        matches!(self, Self::MetricsGenerator | Self::Gateway)
    }

    /// Whether it reads or writes object storage.
    pub(crate) const fn uses_storage(self) -> bool {
        !matches!(self, Self::Distributor | Self::Gateway)
    }

    /// Whether copies and spans go by its zone.
    pub(crate) const fn knows_its_zone(self) -> bool {
        !matches!(self, Self::Compactor | Self::Gateway)
    }
}

/// One value for each component.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ByRole<T> {
    pub(crate) compactor: T,
    pub(crate) distributor: T,
    pub(crate) ingester: T,
    pub(crate) querier: T,
    pub(crate) query_frontend: T,
    pub(crate) metrics_generator: T,
    pub(crate) gateway: T,
}

impl<T> ByRole<T> {
    /// Asks for each component once.
    pub(crate) fn from_fn(mut make: impl FnMut(Role) -> T) -> Self {
        Self {
            compactor: make(Role::Compactor),
            distributor: make(Role::Distributor),
            ingester: make(Role::Ingester),
            querier: make(Role::Querier),
            query_frontend: make(Role::QueryFrontend),
            metrics_generator: make(Role::MetricsGenerator),
            gateway: make(Role::Gateway),
        }
    }

    /// As `from_fn`, for what can fail.
    pub(crate) fn try_from_fn<E>(mut make: impl FnMut(Role) -> Result<T, E>) -> Result<Self, E> {
        Ok(Self {
            compactor: make(Role::Compactor)?,
            distributor: make(Role::Distributor)?,
            ingester: make(Role::Ingester)?,
            querier: make(Role::Querier)?,
            query_frontend: make(Role::QueryFrontend)?,
            metrics_generator: make(Role::MetricsGenerator)?,
            gateway: make(Role::Gateway)?,
        })
    }

    pub(crate) fn get(&self, role: Role) -> &T {
        match role {
            Role::Compactor => &self.compactor,
            Role::Distributor => &self.distributor,
            Role::Ingester => &self.ingester,
            Role::Querier => &self.querier,
            Role::QueryFrontend => &self.query_frontend,
            Role::MetricsGenerator => &self.metrics_generator,
            Role::Gateway => &self.gateway,
        }
    }
}
