//! Our types as a document again, each field under the name that the spec gives
//! it. Written out by hand: what the parser's own attributes say is under test.
//! Whoever adds a field to a type must add it here, or this does not compile.

use pinnace::spec::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

fn all<T>(list: &[T], value: impl Fn(&T) -> Value) -> Value {
    list.iter().map(value).collect()
}

fn each<T>(map: &BTreeMap<String, T>, value: impl Fn(&T) -> Value) -> Value {
    let members = map.iter().map(|(name, one)| (name.clone(), value(one)));
    Value::Object(members.collect::<Map<_, _>>())
}

fn some<T>(part: &Option<T>, value: impl Fn(&T) -> Value) -> Value {
    part.as_ref().map_or(Value::Null, value)
}

pub fn spec(spec: &Spec) -> Value {
    let Spec {
        oci_version,
        root,
        mounts,
        process,
        hostname,
        domainname,
        hooks,
        annotations,
        linux,
    } = spec;
    json!({
        "ociVersion": oci_version,
        "root": some(root, |Root { path, readonly }| json!({"path": path, "readonly": readonly})),
        "mounts": all(mounts, mount),
        "process": some(process, self::process),
        "hostname": hostname,
        "domainname": domainname,
        "hooks": some(hooks, self::hooks),
        "annotations": annotations,
        "linux": some(linux, self::linux),
    })
}

fn mount(mount: &Mount) -> Value {
    let Mount { destination, kind, source, options, uid_mappings, gid_mappings } = mount;
    json!({
        "destination": destination, "type": kind, "source": source, "options": options,
        "uidMappings": all(uid_mappings, mapping), "gidMappings": all(gid_mappings, mapping),
    })
}

fn mapping(IdMapping { container_id, host_id, size }: &IdMapping) -> Value {
    json!({"containerID": container_id, "hostID": host_id, "size": size})
}

fn hooks(hooks: &Hooks) -> Value {
    let Hooks { prestart, create_runtime, create_container, start_container, poststart, poststop } =
        hooks;
    let hook = |Hook { path, args, env, timeout }: &Hook| json!({"path": path, "args": args, "env": env, "timeout": timeout});
    json!({
        "prestart": all(prestart, hook),
        "createRuntime": all(create_runtime, hook),
        "createContainer": all(create_container, hook),
        "startContainer": all(start_container, hook),
        "poststart": all(poststart, hook),
        "poststop": all(poststop, hook),
    })
}

fn process(process: &Process) -> Value {
    let Process {
        terminal,
        console_size,
        cwd,
        env,
        args,
        command_line,
        rlimits,
        apparmor_profile,
        capabilities,
        no_new_privileges,
        oom_score_adj,
        scheduler,
        selinux_label,
        io_priority,
        exec_cpu_affinity,
        user,
    } = process;
    let User { uid, gid, umask, additional_gids, username: _ } = user;
    json!({
        "terminal": terminal,
        "consoleSize": some(console_size, |ConsoleSize { height, width }| {
            json!({"height": height.unwrap_or_default(), "width": width.unwrap_or_default()})
        }),
        "cwd": cwd, "env": env, "args": args, "commandLine": command_line,
        "rlimits": all(rlimits, |Rlimit { kind, hard, soft }| {
            json!({"type": kind, "hard": hard, "soft": soft})
        }),
        "apparmorProfile": apparmor_profile,
        "capabilities": some(capabilities, |sets| {
            let Capabilities { effective, bounding, inheritable, permitted, ambient } = sets;
            json!({"effective": effective, "bounding": bounding, "inheritable": inheritable,
                "permitted": permitted, "ambient": ambient})
        }),
        "noNewPrivileges": no_new_privileges,
        "oomScoreAdj": oom_score_adj,
        "scheduler": some(scheduler, |scheduler| {
            let Scheduler { policy, nice, priority, flags, runtime, deadline, period } = scheduler;
            json!({"policy": policy, "nice": nice, "priority": priority, "flags": flags,
                "runtime": runtime, "deadline": deadline, "period": period})
        }),
        "selinuxLabel": selinux_label,
        "ioPriority": some(io_priority, |IoPriority { class, priority }| {
            json!({"class": class, "priority": priority.unwrap_or_default()})
        }),
        "execCPUAffinity": some(exec_cpu_affinity, |ExecCpuAffinity { initial, last }| {
            json!({"initial": initial, "final": last})
        }),
        "user": {"uid": uid.unwrap_or_default(), "gid": gid.unwrap_or_default(), "umask": umask, "additionalGids": additional_gids},
    })
}

fn linux(linux: &Linux) -> Value {
    let Linux {
        uid_mappings,
        gid_mappings,
        time_offsets,
        sysctl,
        resources,
        cgroups_path,
        namespaces,
        devices,
        net_devices,
        seccomp,
        rootfs_propagation,
        masked_paths,
        readonly_paths,
        mount_label,
        intel_rdt,
        memory_policy,
        personality,
    } = linux;
    json!({
        "uidMappings": all(uid_mappings, mapping), "gidMappings": all(gid_mappings, mapping),
        "timeOffsets": each(time_offsets, |TimeOffset { secs, nanosecs }| {
            json!({"secs": secs, "nanosecs": nanosecs})
        }),
        "sysctl": sysctl,
        "resources": some(resources, self::resources),
        "cgroupsPath": cgroups_path,
        "namespaces": all(namespaces, |Namespace { kind, path }| {
            json!({"type": kind, "path": path})
        }),
        "devices": all(devices, |device| {
            let Device { kind, path, major, minor, file_mode, uid, gid } = device;
            json!({"type": kind, "path": path, "major": major, "minor": minor,
                "fileMode": file_mode, "uid": uid, "gid": gid})
        }),
        "netDevices": each(net_devices, |NetDevice { name }| json!({"name": name})),
        "seccomp": some(seccomp, self::seccomp),
        "rootfsPropagation": rootfs_propagation,
        "maskedPaths": masked_paths, "readonlyPaths": readonly_paths, "mountLabel": mount_label,
        "intelRdt": some(intel_rdt, |rdt| {
            let IntelRdt { clos_id, schemata, l3_cache_schema, mem_bw_schema, enable_monitoring } =
                rdt;
            json!({"closID": clos_id, "schemata": schemata, "l3CacheSchema": l3_cache_schema,
                "memBwSchema": mem_bw_schema, "enableMonitoring": enable_monitoring})
        }),
        "memoryPolicy": some(memory_policy, |MemoryPolicy { mode, nodes, flags }| {
            json!({"mode": mode, "nodes": nodes, "flags": flags})
        }),
        "personality": some(personality, |Personality { domain, flags }| {
            json!({"domain": domain, "flags": flags})
        }),
    })
}

fn seccomp(seccomp: &Seccomp) -> Value {
    let Seccomp {
        default_action,
        default_errno_ret,
        architectures,
        flags,
        listener_path,
        listener_metadata,
        syscalls,
    } = seccomp;
    let arg = |SyscallArg { index, value, value_two, op }: &SyscallArg| json!({"index": index, "value": value, "valueTwo": value_two, "op": op});
    json!({
        "defaultAction": default_action, "defaultErrnoRet": default_errno_ret,
        "architectures": architectures, "flags": flags,
        "listenerPath": listener_path, "listenerMetadata": listener_metadata,
        "syscalls": all(syscalls, |SyscallRule { names, action, errno_ret, args }| {
            json!({"names": names.iter().collect::<Vec<_>>(), "action": action, "errnoRet": errno_ret, "args": all(args, arg)})
        }),
    })
}

fn resources(resources: &Resources) -> Value {
    let Resources { devices, memory, cpu, pids, block_io, hugepage_limits, network, rdma, unified } =
        resources;
    json!({
        "devices": all(devices, |DeviceRule { allow, kind, major, minor, access }| {
            json!({"allow": allow, "type": kind, "major": major, "minor": minor, "access": access})
        }),
        "memory": some(memory, self::memory),
        "cpu": some(cpu, self::cpu),
        "pids": some(pids, |Pids { limit }| json!({"limit": limit})),
        "blockIO": some(block_io, self::block_io),
        "hugepageLimits": all(hugepage_limits, |HugepageLimit { page_size, limit }| {
            json!({"pageSize": page_size, "limit": limit})
        }),
        "network": some(network, |Network { class_id, priorities }| {
            let priority = |InterfacePriority { name, priority }: &InterfacePriority| {
                json!({"name": name, "priority": priority})
            };
            json!({"classID": class_id, "priorities": all(priorities, priority)})
        }),
        "rdma": each(rdma, |Rdma { hca_handles, hca_objects }| {
            json!({"hcaHandles": hca_handles, "hcaObjects": hca_objects})
        }),
        "unified": unified,
    })
}

fn memory(memory: &Memory) -> Value {
    let Memory {
        limit,
        reservation,
        swap,
        kernel,
        kernel_tcp,
        swappiness,
        disable_oom_killer,
        use_hierarchy,
        check_before_update,
    } = memory;
    json!({
        "limit": limit, "reservation": reservation, "swap": swap, "kernel": kernel,
        "kernelTCP": kernel_tcp, "swappiness": swappiness, "disableOOMKiller": disable_oom_killer,
        "useHierarchy": use_hierarchy, "checkBeforeUpdate": check_before_update,
    })
}

fn cpu(cpu: &Cpu) -> Value {
    let Cpu { shares, quota, burst, period, realtime_runtime, realtime_period, cpus, mems, idle } =
        cpu;
    json!({
        "shares": shares, "quota": quota, "burst": burst, "period": period,
        "realtimeRuntime": realtime_runtime, "realtimePeriod": realtime_period,
        "cpus": cpus, "mems": mems, "idle": idle,
    })
}

fn block_io(block_io: &BlockIo) -> Value {
    let BlockIo {
        weight,
        leaf_weight,
        weight_device,
        throttle_read_bps_device,
        throttle_write_bps_device,
        throttle_read_iops_device,
        throttle_write_iops_device,
    } = block_io;
    let rate = |ThrottleDevice { major, minor, rate }: &ThrottleDevice| json!({"major": major, "minor": minor, "rate": rate});
    let weights = |WeightDevice { major, minor, weight, leaf_weight }: &WeightDevice| json!({"major": major, "minor": minor, "weight": weight, "leafWeight": leaf_weight});
    json!({
        "weight": weight, "leafWeight": leaf_weight, "weightDevice": all(weight_device, weights),
        "throttleReadBpsDevice": all(throttle_read_bps_device, rate),
        "throttleWriteBpsDevice": all(throttle_write_bps_device, rate),
        "throttleReadIOPSDevice": all(throttle_read_iops_device, rate),
        "throttleWriteIOPSDevice": all(throttle_write_iops_device, rate),
    })
}
