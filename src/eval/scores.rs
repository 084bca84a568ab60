//! Sums by task over a set of frames, and which class of the truth is which of the bundle's.

use anyhow::ensure;
use milad_scene::Truth;

use super::clips::Kinds;
use super::confusion::Confusion;
use super::depth::DepthSums;
use super::labelled::NO_CLASS;
use super::normals::NormalSums;
use crate::model::{Spec, TaskKind, TaskSpec};
use crate::publish::plane::{Plane, Values};

/// What each of the bundle's tasks is compared with, in their order.
#[derive(Debug, Clone)]
pub struct Targets(pub Vec<Target>);

/// What a task is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// The true class.
    Segmentation(Box<Classes>),
    /// Metres.
    Depth,
    /// Directions.
    Normals,
    /// Nothing: there is no truth of it.
    Raw,
}

impl Target {
    /// The classes of a segmentation.
    pub fn classes(&self) -> Option<&Classes> {
        match self {
            Target::Segmentation(classes) => Some(classes),
            _ => None,
        }
    }
}

/// A segmentation's classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Classes {
    /// The bundle's, by index.
    pub names: Vec<String>,
    /// Index in the bundle by index in the truth.
    map: [u8; 256],
    /// Classes that both know: those that are scored.
    pub scored: Vec<usize>,
    /// Classes of the truth that the bundle does not know: their pixels are not scored.
    pub unknown: Vec<String>,
}

impl Targets {
    /// Matches classes by name, or by index where the truth's names are not told. Fails where a segmentation and the truth
    /// have no class in common.
    pub fn new(spec: &Spec, truth: &Option<Vec<String>>) -> anyhow::Result<Targets> {
        let target = |task: &TaskSpec| {
            let classes = match &task.kind {
                TaskKind::Segmentation { classes } => classes,
                TaskKind::Depth { .. } => return Ok(Target::Depth),
                TaskKind::Normals => return Ok(Target::Normals),
                TaskKind::Raw { .. } => return Ok(Target::Raw),
            };
            let names: Vec<String> = classes.iter().map(|class| class.name.clone()).collect();
            let truth = truth.as_ref().unwrap_or(&names);
            let classes = Classes::new(names.clone(), truth);
            ensure!(
                !classes.scored.is_empty(),
                "task {}: expected classes of the truth ({}), found none of them in the bundle ({}); evaluate on clips \
                 of the kind that the bundle is for",
                task.name,
                truth.join(", "),
                names.join(", ")
            );
            Ok(Target::Segmentation(Box::new(classes)))
        };
        Ok(Targets(spec.tasks.iter().map(target).collect::<anyhow::Result<_>>()?))
    }
}

impl Classes {
    fn new(names: Vec<String>, truth: &[String]) -> Classes {
        let (mut map, mut scored, mut unknown) = ([NO_CLASS; 256], Vec::new(), Vec::new());
        for (place, name) in map.iter_mut().zip(truth) {
            match names.iter().position(|own| own == name) {
                Some(index) => {
                    *place = index as u8;
                    scored.push(index);
                }
                None => unknown.push(name.clone()),
            }
        }
        scored.sort_unstable();
        scored.dedup();
        Classes { names, map, scored, unknown }
    }
}

/// The sums of one task.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskSums {
    /// Classes.
    Segmentation(Confusion),
    /// Metres.
    Depth(DepthSums),
    /// Directions.
    Normals(Box<NormalSums>),
    /// Nothing that truth could be compared with.
    Raw,
}

/// Sums over a set of frames.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scores {
    /// How many frames.
    pub frames: u64,
    /// In the order of the bundle's tasks.
    pub tasks: Vec<TaskSums>,
}

impl Scores {
    /// What one frame's published maps are worth.
    pub fn of_frame(planes: &[Plane], truth: &Truth, kinds: Kinds, targets: &Targets) -> Scores {
        let tasks = planes.iter().zip(&targets.0).map(|(plane, target)| match (&plane.values, target) {
            (Values::U8(map), Target::Segmentation(classes)) => {
                let mut confusion = Confusion::new(classes.names.len());
                if kinds.class {
                    for (&truth, &prediction) in truth.class.iter().zip(map.iter()) {
                        confusion.count(usize::from(classes.map[usize::from(truth)]), usize::from(prediction));
                    }
                }
                TaskSums::Segmentation(confusion)
            }
            (Values::F32(map), Target::Depth) => {
                let mut sums = DepthSums::default();
                sums.add(map, &truth.depth);
                TaskSums::Depth(sums)
            }
            (Values::I8(map), Target::Normals) => {
                let mut sums = NormalSums::default();
                sums.add(map, &truth.normals);
                TaskSums::Normals(Box::new(sums))
            }
            _ => TaskSums::Raw,
        });
        Scores { frames: 1, tasks: tasks.collect() }
    }

    /// Adds another set of frames, of the same bundle.
    pub fn merge(&mut self, other: &Scores) {
        if self.tasks.is_empty() {
            self.tasks.clone_from(&other.tasks);
        } else {
            for (sums, other) in self.tasks.iter_mut().zip(&other.tasks) {
                match (sums, other) {
                    (TaskSums::Segmentation(sums), TaskSums::Segmentation(other)) => sums.merge(other),
                    (TaskSums::Depth(sums), TaskSums::Depth(other)) => sums.merge(other),
                    (TaskSums::Normals(sums), TaskSums::Normals(other)) => sums.merge(other),
                    _ => {}
                }
            }
        }
        self.frames += other.frames;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn classes_are_matched_by_name() {
        let classes = Classes::new(names(&["sky", "road", "boat"]), &names(&["road", "person", "sky"]));
        assert_eq!(classes.map[..4], [1, NO_CLASS, 0, NO_CLASS]);
        assert_eq!((classes.scored, classes.unknown), (vec![0, 1], names(&["person"])));
    }
}
