//! Pods and their containers, asked for as the kubelet does.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use k8s_cri::v1::{
    ContainerConfig, ContainerMetadata, ContainerState, ContainerStatus, ContainerStatusRequest,
    CreateContainerRequest, ExecSyncRequest, ExecSyncResponse, ImageSpec,
    LinuxContainerSecurityContext, LinuxPodSandboxConfig, LinuxSandboxSecurityContext,
    NamespaceMode, NamespaceOption, PodSandboxConfig, PodSandboxMetadata, PodSandboxStatus,
    PodSandboxStatusRequest, RemoveContainerRequest, RemovePodSandboxRequest, RunPodSandboxRequest,
    StartContainerRequest, StopContainerRequest, StopPodSandboxRequest,
};
use tonic::Status;

use crate::call::until;
use crate::client::Client;
use crate::machine::IMAGE;
use crate::node::{HANDLER, Node};

/// A pod that has been run.
pub struct Pod<'a> {
    /// What it runs on.
    pub node: &'a Node,
    /// Its id, and that of what holds its namespaces.
    pub id: String,
    /// What was asked for.
    pub config: PodSandboxConfig,
}

/// A container of a pod.
pub struct Container<'a> {
    /// Whose it is.
    pub node: &'a Node,
    /// Its id, also in containerd and for the runtime.
    pub id: String,
    /// What it writes is here.
    pub log: PathBuf,
}

/// What is usual in a cluster: a network, and process ids of each container's own.
pub fn usual() -> NamespaceOption {
    NamespaceOption { pid: NamespaceMode::Container.into(), ..NamespaceOption::default() }
}

/// The security settings of a pod.
pub fn of_pod(config: &mut PodSandboxConfig) -> &mut LinuxSandboxSecurityContext {
    config.linux.get_or_insert_default().security_context.get_or_insert_default()
}

/// The security settings of a container.
pub fn of_container(config: &mut ContainerConfig) -> &mut LinuxContainerSecurityContext {
    config.linux.get_or_insert_default().security_context.get_or_insert_default()
}

impl Node {
    /// Runs a pod of this name with the runtime under test, as `ask` would have it.
    pub fn pod(&self, name: &str, ask: impl FnOnce(&mut PodSandboxConfig)) -> Result<Pod<'_>> {
        self.pod_by(HANDLER, name, ask)
    }

    /// The same with a runtime by the name that it has in the configuration: `runc` is the other one.
    pub fn pod_by(
        &self,
        handler: &str,
        name: &str,
        ask: impl FnOnce(&mut PodSandboxConfig),
    ) -> Result<Pod<'_>> {
        let logs = self.directory.join("logs").join(name);
        let security = LinuxSandboxSecurityContext {
            namespace_options: Some(usual()),
            ..LinuxSandboxSecurityContext::default()
        };
        let mut config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: name.to_owned(),
                uid: name.to_owned(),
                namespace: "default".to_owned(),
                attempt: 0,
            }),
            hostname: name.to_owned(),
            log_directory: logs.display().to_string(),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: format!("/{}", self.unique),
                security_context: Some(security),
                ..LinuxPodSandboxConfig::default()
            }),
            ..PodSandboxConfig::default()
        };
        ask(&mut config);
        let request = RunPodSandboxRequest {
            config: Some(config.clone()),
            runtime_handler: handler.to_owned(),
        };
        let id = self.client.run_pod_sandbox(request)?.pod_sandbox_id;
        Ok(Pod { node: self, id, config })
    }
}

impl<'a> Pod<'a> {
    /// What containerd says of it.
    pub fn status(&self) -> Result<PodSandboxStatus> {
        let request =
            PodSandboxStatusRequest { pod_sandbox_id: self.id.clone(), ..Default::default() };
        self.node.client.pod_sandbox_status(request)?.status.context("no status of the pod")
    }

    /// Its address in the network.
    pub fn address(&self) -> Result<String> {
        Ok(self.status()?.network.context("no network")?.ip)
    }

    /// Creates a container that runs `script`, as `ask` would have it.
    pub fn create(
        &self,
        name: &str,
        script: &str,
        ask: impl FnOnce(&mut ContainerConfig),
    ) -> Result<Container<'a>, Status> {
        let mut config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.to_owned(), attempt: 0 }),
            image: Some(ImageSpec { image: IMAGE.to_owned(), ..ImageSpec::default() }),
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            log_path: format!("{name}.log"),
            ..ContainerConfig::default()
        };
        of_container(&mut config).namespace_options =
            of_pod(&mut self.config.clone()).namespace_options.clone();
        ask(&mut config);
        let log = PathBuf::from(&self.config.log_directory).join(&config.log_path);
        let request = CreateContainerRequest {
            pod_sandbox_id: self.id.clone(),
            config: Some(config),
            sandbox_config: Some(self.config.clone()),
        };
        let id = self.node.client.create_container(request)?.container_id;
        Ok(Container { node: self.node, id, log })
    }

    /// Creates and starts one.
    pub fn run(
        &self,
        name: &str,
        script: &str,
        ask: impl FnOnce(&mut ContainerConfig),
    ) -> Result<Container<'a>> {
        let container = self.create(name, script, ask)?;
        container.start()?;
        Ok(container)
    }

    /// One that stays, and has run `script`.
    pub fn service(
        &self,
        name: &str,
        script: &str,
        ask: impl FnOnce(&mut ContainerConfig),
    ) -> Result<Container<'a>> {
        let script = format!("{script}\necho ready; while :; do sleep 1000 & wait; done");
        let container = self.run(name, &script, ask)?;
        until(&format!("{name} is ready"), || Ok(container.output("stdout")?.contains("ready\n")))?;
        Ok(container)
    }

    /// Runs `script` to its end, which must be a good one. What it has printed.
    pub fn prints(
        &self,
        name: &str,
        script: &str,
        ask: impl FnOnce(&mut ContainerConfig),
    ) -> Result<String> {
        let container = self.run(name, script, ask)?;
        let status = container.ended()?;
        let [stdout, stderr] = ["stdout", "stderr"].map(|stream| container.output(stream));
        let (stdout, stderr) = (stdout?, stderr?);
        anyhow::ensure!(status.exit_code == 0, "{name}: {}\n{stdout}{stderr}", status.exit_code);
        Ok(stdout)
    }

    /// Stops and removes it with its containers.
    pub fn remove(self) -> Result<()> {
        remove_pod(&self.node.client, &self.id)
    }
}

/// Stops and removes a pod with its containers.
pub fn remove_pod(client: &Client, id: &str) -> Result<()> {
    client.stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: id.to_owned() })?;
    client.remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() })?;
    Ok(())
}

impl Container<'_> {
    /// Starts what was created.
    pub fn start(&self) -> Result<(), Status> {
        let request = StartContainerRequest { container_id: self.id.clone() };
        self.node.client.start_container(request).map(drop)
    }

    /// Asks it to stop, and kills it after so many seconds.
    pub fn stop(&self, seconds: i64) -> Result<(), Status> {
        let request = StopContainerRequest { container_id: self.id.clone(), timeout: seconds };
        self.node.client.stop_container(request).map(drop)
    }

    /// Removes it, running or not.
    pub fn remove(&self) -> Result<(), Status> {
        let request = RemoveContainerRequest { container_id: self.id.clone() };
        self.node.client.remove_container(request).map(drop)
    }

    /// What containerd says of it.
    pub fn status(&self) -> Result<ContainerStatus> {
        let request = ContainerStatusRequest { container_id: self.id.clone(), verbose: false };
        self.node.client.container_status(request)?.status.context("no status of the container")
    }

    /// Waits for its end.
    pub fn ended(&self) -> Result<ContainerStatus> {
        until(&format!("{} has ended", self.id), || {
            Ok(self.status()?.state() == ContainerState::ContainerExited)
        })?;
        self.status()
    }

    /// Runs a program in it.
    pub fn exec_sync(&self, words: &[&str], seconds: i64) -> Result<ExecSyncResponse, Status> {
        self.node.client.exec_sync(ExecSyncRequest {
            container_id: self.id.clone(),
            cmd: words.iter().map(|&word| word.to_owned()).collect(),
            timeout: seconds,
        })
    }

    /// Runs a shell's script in it, which must succeed. What it has printed.
    pub fn exec(&self, script: &str) -> Result<String> {
        let reply = self.exec_sync(&["sh", "-c", script], 60)?;
        let [stdout, stderr] =
            [&reply.stdout, &reply.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        anyhow::ensure!(reply.exit_code == 0, "{script}: {}\n{stdout}{stderr}", reply.exit_code);
        Ok(stdout.trim_end().to_owned())
    }

    /// What it has written to a stream, by its log: lines of `TIME STREAM F|P TEXT`, where P has no newline.
    pub fn output(&self, stream: &str) -> Result<String> {
        let mut text = String::new();
        for line in fs::read_to_string(&self.log).unwrap_or_default().lines() {
            let mut words = line.splitn(4, ' ').skip(1);
            if words.next() == Some(stream) {
                let partial = words.next() == Some("P");
                text.push_str(words.next().context("a line of a log without a text")?);
                text.push_str(if partial { "" } else { "\n" });
            }
        }
        Ok(text)
    }
}
