//! Draws the tasks and their endpoints as a graph, for Mermaid and Graphviz.

use std::fmt::Write as _;

use super::command::Described;
use crate::connector::Endpoint;
use crate::task::{Role, Slot};

/// A language for graphs. Nodes are named by their numbers, because a user's name could be a keyword of the language.
pub(super) struct Notation {
    head: &'static str,
    tail: &'static str,
    task: fn(usize, &str) -> String,
    place: fn(usize, &str) -> String,
    edge: fn(&Edge) -> String,
}

impl Notation {
    pub(super) const MERMAID: Self = Self {
        head: "flowchart LR\n",
        tail: "",
        task: |number, label| format!("  task_{number}[\"{}\"]\n", mermaid(label)),
        place: |number, label| format!("  place_{number}[(\"{}\")]\n", mermaid(label)),
        edge: |edge| {
            let (from, to) = edge.ends();
            let arrow = if edge.way == Way::Rejected { "-.->" } else { "-->" };
            format!("  {from} {arrow}|\"{}\"| {to}\n", mermaid(&edge.label))
        },
    };
    pub(super) const DOT: Self = Self {
        head: "digraph ergon {\n  rankdir=LR;\n",
        tail: "}\n",
        task: |number, label| format!("  task_{number} [shape=box, label=\"{}\"];\n", dot(label)),
        place: |number, label| format!("  place_{number} [shape=cylinder, label=\"{}\"];\n", dot(label)),
        edge: |edge| {
            let (from, to) = edge.ends();
            let style = if edge.way == Way::Rejected { ", style=dashed" } else { "" };
            format!("  {from} -> {to} [label=\"{}\"{style}];\n", dot(&edge.label))
        },
    };
}

/// Escapes a text for quotes in Mermaid, whose only escapes are the numbers of characters. All characters with a meaning
/// in Mermaid, HTML or Markdown are escaped.
fn mermaid(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        if character.is_alphanumeric() || " -_./,()".contains(character) {
            escaped.push(character);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "#{};", u32::from(character));
        }
    }
    escaped
}

/// Escapes a text for quotes in DOT, where Graphviz reads HTML entities.
fn dot(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('&', "&amp;")
}

/// Draws the tasks as boxes between the endpoints that they fetch from and dispatch to.
pub(super) fn draw(tasks: &[Described<'_>], notation: &Notation) -> String {
    let graph = Graph::of(tasks);
    let mut text = notation.head.to_owned();
    for (number, task) in (1..).zip(tasks) {
        text.push_str(&(notation.task)(number, task.outline.name));
    }
    for (number, node) in (1..).zip(&graph.nodes) {
        text.push_str(&(notation.place)(number, &graph.label(node)));
    }
    for edge in &graph.edges {
        text.push_str(&(notation.edge)(edge));
    }
    text.push_str(notation.tail);
    text
}

/// The endpoints of all tasks, each once, and the edges to them.
#[derive(Default)]
struct Graph<'a> {
    nodes: Vec<Node<'a>>,
    edges: Vec<Edge>,
}

#[derive(Clone, Copy, PartialEq)]
enum Node<'a> {
    /// An endpoint, and the kind of the connectors that lead to it.
    Endpoint(&'a Endpoint, &'static str),
    /// The unknown endpoint of this slot of a task.
    Slot { task: usize, name: &'static str, kind: &'static str },
}

struct Edge {
    task: usize,
    place: usize,
    way: Way,
    label: String,
}

/// The direction of transactions.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// From the endpoint to the task.
    In,
    /// From the task to the endpoint.
    Out,
    /// From the task to the endpoint, as dead letters.
    Rejected,
}

impl<'a> Graph<'a> {
    fn of(tasks: &'a [Described<'_>]) -> Self {
        let mut graph = Self::default();
        for (number, task) in (1..).zip(tasks) {
            for slot in &task.outline.slots {
                if matches!(slot.role, Role::Source | Role::Duplex) {
                    graph.join(number, slot, task.endpoints.reads_from(slot.name), Way::In);
                }
                if slot.role != Role::Source {
                    let rejected = task.part(slot.name, slot.role) == "dead letter";
                    let way = if rejected { Way::Rejected } else { Way::Out };
                    graph.join(number, slot, task.endpoints.writes_to(slot.name), way);
                }
            }
        }
        graph
    }

    /// Adds the edges of a slot in one direction.
    fn join(&mut self, task: usize, slot: &Slot, places: &'a [Endpoint], way: Way) {
        let unknown = [Node::Slot { task, name: slot.name, kind: slot.kind }];
        let known = places.iter().map(|place| Node::Endpoint(place, slot.kind));
        let nodes: Vec<Node<'a>> = if places.is_empty() { unknown.into() } else { known.collect() };
        for node in nodes {
            let label = match way {
                Way::In | Way::Out => slot.name.to_owned(),
                Way::Rejected => format!("{} (dead letter)", slot.name),
            };
            let place = self.number(node);
            self.edges.push(Edge { task, place, way, label });
        }
    }

    /// The number of a node; the first is 1.
    fn number(&mut self, node: Node<'a>) -> usize {
        let found = self.nodes.iter().position(|other| *other == node);
        let at = found.unwrap_or_else(|| {
            self.nodes.push(node);
            self.nodes.len() - 1
        });
        at + 1
    }

    fn label(&self, node: &Node<'_>) -> String {
        match node {
            Node::Slot { name, kind, .. } => format!("{name} ({kind})"),
            Node::Endpoint(place, kind) => match place.system().filter(|_| self.has_namesake(node)) {
                Some(system) => format!("{place} ({kind}, {system})"),
                None => format!("{place} ({kind})"),
            },
        }
    }

    /// Whether another place has the same name and kind.
    fn has_namesake(&self, node: &Node<'_>) -> bool {
        let words = |node: &Node<'_>| match node {
            Node::Endpoint(place, kind) => Some((place.name().to_owned(), *kind)),
            Node::Slot { .. } => None,
        };
        self.nodes.iter().any(|other| other != node && words(other) == words(node))
    }
}

impl Edge {
    fn ends(&self) -> (String, String) {
        let (task, place) = (format!("task_{}", self.task), format!("place_{}", self.place));
        match self.way {
            Way::In => (place, task),
            Way::Out | Way::Rejected => (task, place),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{BillOrders, ran};
    use crate::connector::memory::MemoryConfig;
    use crate::connector::{Connector, ConnectorConfig, ConnectorError, Endpoint};
    use crate::policy::ConsumerPolicy;
    use crate::prelude::*;
    use crate::runner::fake::{fake, price_orders};

    /// A sink that leads to this place.
    #[derive(Clone)]
    struct Berth(Endpoint);

    impl ConnectorConfig for Berth {
        type Connector = Self;

        fn build(&self, _: &crate::connector::Context) -> Result<Self, ConnectorError> {
            Ok(self.clone())
        }
    }

    impl Connector for Berth {
        const KIND: &'static str = "berth";
    }

    impl Sink for Berth {
        async fn dispatch(&self, _: Vec<Transaction>) -> Result<(), ConnectorError> {
            Ok(())
        }

        fn writes_to(&self) -> Vec<Endpoint> {
            vec![self.0.clone()]
        }
    }

    #[ergon::task(connectors(input, output, more), consumer())]
    struct Ship;

    impl Consumer for Ship {
        type Payload = Value;
        type Output = ();

        async fn process_transaction(&self, _: &Transaction<Value>) -> Result<()> {
            Ok(())
        }
    }

    #[ergon::task(connectors(input: Duplex, back: Duplex), consumer(dead_letter = back))]
    struct Ferry;

    impl Consumer for Ferry {
        type Payload = Value;
        type Output = ();

        async fn process_transaction(&self, _: &Transaction<Value>) -> Result<()> {
            Ok(())
        }
    }

    fn ship(output: Endpoint, more: Endpoint) -> TaskConfig {
        Ship::config(ShipWiring { input: MemoryConfig::new("sea"), output: Berth(output), more: Berth(more) })
    }

    fn drawn(tasks: &[TaskConfig], format: &str) -> String {
        let ran = ran(tasks, "", &["describe", "--format", format]);
        assert_eq!((ran.code, ran.talk.as_str()), (0, ""));
        ran.data
    }

    #[test]
    fn tasks_are_joined_where_they_share_a_place() {
        let policy = ConsumerPolicy { dead_letter: Some("dlq".into()), ..ConsumerPolicy::DEFAULT };
        let tasks = [price_orders("met", policy), fake::<BillOrders>("met-out", ConsumerPolicy::DEFAULT)];
        let expected = [
            "flowchart LR",
            "  task_1[\"price-orders\"]",
            "  task_2[\"bill-orders\"]",
            "  place_1[(\"met (memory)\")]",
            "  place_2[(\"met-out (memory)\")]",
            "  place_3[(\"dlq (stubborn)\")]",
            "  place_4[(\"met-out-out (memory)\")]",
            "  place_5[(\"dlq (stubborn)\")]",
            "  place_1 -->|\"input\"| task_1",
            "  task_1 -->|\"output\"| place_2",
            "  task_1 -.->|\"dlq (dead letter)\"| place_3",
            "  place_2 -->|\"input\"| task_2",
            "  task_2 -->|\"output\"| place_4",
            "  task_2 -->|\"dlq\"| place_5",
        ];
        assert_eq!(drawn(&tasks, "mermaid").lines().collect::<Vec<_>>(), expected);
        let dot = drawn(&tasks, "dot");
        let dashed = "  task_1 -> place_3 [label=\"dlq (dead letter)\", style=dashed];\n";
        assert!(dot.contains(dashed), "{dot}");
        assert!(dot.contains("  place_2 -> task_2 [label=\"input\"];\n"), "{dot}");
    }

    #[test]
    fn a_duplex_leads_both_ways() {
        let wiring =
            FerryWiring { input: MemoryConfig::new("shore"), back: MemoryConfig::new("other-shore") };
        let drawn = drawn(&[Ferry::config(wiring)], "mermaid");
        let expected = [
            "  place_1 -->|\"input\"| task_1",
            "  task_1 -->|\"input\"| place_1",
            "  place_2 -->|\"back\"| task_1",
            "  task_1 -.->|\"back (dead letter)\"| place_2",
        ];
        assert_eq!(drawn.lines().skip(4).collect::<Vec<_>>(), expected, "{drawn}");
    }

    #[test]
    fn names_of_any_characters_leave_the_graph_valid() {
        let nasty = "a \"b\"|<i>&amp;#35;[c]`\\\nß\\";
        let task = [ship(Endpoint::new(nasty), Endpoint::new("plain"))];
        let mermaid = drawn(&task, "mermaid");
        let label = "a #34;b#34;#124;#60;i#62;#38;amp#59;#35;35#59;#91;c#93;#96;#92;#92;nß#92; (berth)";
        assert!(mermaid.contains(&format!("  place_2[(\"{label}\")]\n")), "{mermaid}");
        let dot = drawn(&task, "dot");
        let label = r#"a \"b\"|<i>&amp;amp;#35;[c]`\\\\nß\\ (berth)"#;
        assert!(dot.contains(&format!("[shape=cylinder, label=\"{label}\"];\n")), "{dot}");
    }

    #[test]
    fn places_of_one_name_are_told_apart_by_their_systems() {
        let orders = || Endpoint::new("orders");
        let drawn = drawn(&[ship(orders().within("here"), orders().within("there"))], "dot");
        assert!(drawn.contains("label=\"orders (berth, here)\""), "{drawn}");
        assert!(drawn.contains("label=\"orders (berth, there)\""), "{drawn}");
        assert!(drawn.contains("label=\"sea (memory)\""), "{drawn}");
    }

    #[test]
    fn what_cannot_be_built_is_drawn_by_its_slots() {
        let tasks = [
            price_orders("never-built", ConsumerPolicy::DEFAULT),
            fake::<BillOrders>("never-out", ConsumerPolicy::DEFAULT),
        ];
        let ran = ran(&tasks, "", &["describe", "--format", "mermaid"]);
        assert_eq!(ran.code, 0, "{}", ran.talk);
        let said = "warning: price-orders cannot be built, so its endpoints are not shown; `check price-orders` reports the reason\n";
        assert_eq!(ran.talk, said);
        assert!(ran.data.contains("  place_1[(\"input (memory)\")]\n"), "{}", ran.data);
        assert!(ran.data.contains("  place_1 -->|\"input\"| task_1\n"), "{}", ran.data);
        assert!(ran.data.contains("(\"never-out (memory)\")"), "{}", ran.data);
    }
}
