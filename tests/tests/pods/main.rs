//! The pod harness itself: pods come, leave, die and are replaced as Kubernetes would have it.
//!
//! The life of a pod is that of the manifests, only faster, so that a test takes seconds.

#[cfg(test)]
mod foreign;
#[cfg(test)]
mod life;
#[cfg(test)]
mod support;
