//! The cases of the matrix.

use std::fmt;

/// Where Redis is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The pods know of none.
    Absent,
    /// It answers.
    Up,
    /// SIGSTOP: connections stay open, nobody answers.
    Stopped,
    /// SIGKILL: connections are refused.
    Down,
}

/// One case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// So many at once.
    pub callers: usize,
    /// On so many pods.
    pub pods: usize,
    /// One of them asks for something else.
    pub one_differs: bool,
    /// The first pod is killed midway, and comes back.
    pub killed: bool,
}

impl Guard {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Absent, Self::Up, Self::Stopped, Self::Down];
}

impl Case {
    /// All cases of crowds of these sizes.
    #[must_use]
    pub fn all(crowds: &[usize]) -> Vec<Self> {
        let mut cases = Vec::new();
        for &callers in crowds {
            for pods in [1, 2] {
                for one_differs in [false, true] {
                    for killed in [false, true] {
                        cases.push(Self { callers, pods, one_differs, killed });
                    }
                }
            }
        }
        cases
    }

    pub(super) fn key(self) -> String {
        self.to_string().replace([' ', ','], "-")
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { callers, pods, .. } = self;
        let body = if self.one_differs { "one differs" } else { "same body" };
        let fate = if self.killed { "pod killed" } else { "calm" };
        write!(f, "{callers} callers, {pods} pods, {body}, {fate}")
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Absent => "absent",
            Self::Up => "up",
            Self::Stopped => "stopped",
            Self::Down => "down",
        })
    }
}
