//! Whose turn it is: projects take turns, and within a project its endpoints do, so that who has much to send does not
//! hold up who has little.

use std::collections::{HashMap, VecDeque};

use crate::id::{EndpointId, ProjectId};

/// Endpoints that take turns among themselves: those of one project, or one whose project is not known yet.
type Group = Result<ProjectId, EndpointId>;

/// Endpoints that stand in line.
#[derive(Debug, Default)]
pub(super) struct Turns {
    groups: HashMap<Group, VecDeque<EndpointId>>,
    order: VecDeque<Group>,
}

impl Turns {
    /// Puts an endpoint at the end of its project's line.
    pub(super) fn push(&mut self, project: Option<ProjectId>, id: EndpointId) {
        let group = project.ok_or(id);
        let line = self.groups.entry(group).or_default();
        if line.is_empty() {
            self.order.push_back(group);
        }
        line.push_back(id);
    }

    /// The endpoint whose turn it is.
    pub(super) fn pop(&mut self) -> Option<EndpointId> {
        let group = self.order.pop_front()?;
        let line = self.groups.get_mut(&group)?;
        let next = line.pop_front();
        if line.is_empty() {
            self.groups.remove(&group);
        } else {
            self.order.push_back(group);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_take_turns_and_so_do_a_projects_endpoints() {
        let mut turns = Turns::default();
        let [crowd, quiet] = [1, 2].map(ProjectId::from_bits);
        for id in 0..3 {
            turns.push(Some(crowd), EndpointId::from_bits(id));
        }
        turns.push(Some(quiet), EndpointId::from_bits(10));
        turns.push(None, EndpointId::from_bits(20));
        let order: Vec<EndpointId> = std::iter::from_fn(|| turns.pop()).collect();
        assert_eq!(order, [0, 10, 20, 1, 2].map(EndpointId::from_bits));
    }
}
