//! A client of the Container Runtime Interface, on a containerd's socket.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use hyper_util::rt::TokioIo;
use k8s_cri::v1;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Response, Status};

/// Until a call has failed: many times what any of them needs.
const LIMIT: Duration = Duration::from_secs(90);

/// Calls may be made from several threads at once.
pub struct Client {
    runtime: Runtime,
    channel: Channel,
}

impl Client {
    /// Connects when it is first called, and again after the daemon has been away.
    pub fn new(socket: &Path) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let socket = socket.to_owned();
        let connect = tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let inside = runtime.enter();
        // No host is asked for: the address is that of the socket.
        let channel =
            Endpoint::from_static("http://localhost").connect_with_connector_lazy(connect);
        drop(inside);
        Ok(Self { runtime, channel })
    }
}

/// Calls of the service, each as a method that waits for the reply.
macro_rules! calls {
    ($($call:ident($request:ident) -> $reply:ident;)*) => {
        impl Client {
            $(
                #[doc = concat!("Sends a [`v1::", stringify!($request), "`].")]
                pub fn $call(&self, request: v1::$request) -> Result<v1::$reply, Status> {
                    let mut service = RuntimeServiceClient::new(self.channel.clone());
                    let mut request = Request::new(request);
                    request.set_timeout(LIMIT);
                    self.runtime.block_on(service.$call(request)).map(Response::into_inner)
                }
            )*
        }
    };
}

calls! {
    version(VersionRequest) -> VersionResponse;
    status(StatusRequest) -> StatusResponse;
    run_pod_sandbox(RunPodSandboxRequest) -> RunPodSandboxResponse;
    stop_pod_sandbox(StopPodSandboxRequest) -> StopPodSandboxResponse;
    remove_pod_sandbox(RemovePodSandboxRequest) -> RemovePodSandboxResponse;
    pod_sandbox_status(PodSandboxStatusRequest) -> PodSandboxStatusResponse;
    list_pod_sandbox(ListPodSandboxRequest) -> ListPodSandboxResponse;
    create_container(CreateContainerRequest) -> CreateContainerResponse;
    start_container(StartContainerRequest) -> StartContainerResponse;
    stop_container(StopContainerRequest) -> StopContainerResponse;
    remove_container(RemoveContainerRequest) -> RemoveContainerResponse;
    list_containers(ListContainersRequest) -> ListContainersResponse;
    container_status(ContainerStatusRequest) -> ContainerStatusResponse;
    container_stats(ContainerStatsRequest) -> ContainerStatsResponse;
    update_container_resources(UpdateContainerResourcesRequest) -> UpdateContainerResourcesResponse;
    reopen_container_log(ReopenContainerLogRequest) -> ReopenContainerLogResponse;
    exec_sync(ExecSyncRequest) -> ExecSyncResponse;
    exec(ExecRequest) -> ExecResponse;
    attach(AttachRequest) -> AttachResponse;
    port_forward(PortForwardRequest) -> PortForwardResponse;
}
