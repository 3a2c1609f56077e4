//! What `k8s/` says, as kustomize renders it, against what the programs do. Schemas are
//! `k8s/validate`'s part; here is what no schema knows: that numbers, names and ports agree.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod databases;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod duplicates;
#[cfg(test)]
mod environment;
#[cfg(test)]
mod images;
#[cfg(test)]
mod initialise;
#[cfg(test)]
mod leaving;
#[cfg(test)]
mod load;
#[cfg(test)]
mod network;
#[cfg(test)]
mod pods;
#[cfg(test)]
mod probes;
#[cfg(test)]
mod program;
#[cfg(test)]
mod quota;
#[cfg(test)]
mod redis;
#[cfg(test)]
mod room;
#[cfg(test)]
mod verify;
