//! The configuration of the workloads: Tempo's `tempo.yaml` (2.10) as serde types, and Tempo's dotted flags.
//!
//! The operator renders with the very types that the process parses. A field that is not set is `None` and is
//! not written; what stands for it is in [`defaults`]. Nothing here opens a file or a socket.

mod command;
mod compaction;
mod decode;
pub mod defaults;
mod duration;
mod env;
mod ingest;
mod limits;
mod load;
mod members;
mod query;
mod root;
mod secret;
mod section;
mod server;
mod size;
mod storage;
mod switch;
mod tls;
mod tree;

pub use command::{CommandLine, FlagError, help};
pub use compaction::{Compaction, Compactor, RetentionRule};
pub use duration::{Duration, DurationError};
pub use env::expand;
pub use ingest::{Distributor, Ingester, Lifecycler, Otlp, OtlpGrpc, OtlpHttp, OtlpProtocols, Receivers};
pub use limits::{
    CompactionLimits, GlobalLimits, IngestionLimits, Limits, Overrides, ReadLimits, StorageLimits,
    TenantLimits,
};
pub use load::{ConfigError, Loaded, Origin, Warning, load, load_overrides};
pub use members::Memberlist;
pub use query::{
    FrontendMetrics, FrontendSearch, FrontendTraceById, FrontendWorker, McpServer, Querier, QuerierSearch,
    QuerierTraceById, QueryFrontend,
};
pub use root::{Config, UsageReport};
pub use secret::Secret;
pub use section::Opaque;
pub use server::{Server, ServerTls};
pub use size::{Size, SizeError};
pub use storage::{Azure, Block, Gcs, Local, Pool, S3, S3Sse, Storage, Trace, Wal};
pub use switch::{Many, Switch};
pub use tls::{ClientTls, GrpcClient, InternalServer, ReceiverTls, RoleClient};
