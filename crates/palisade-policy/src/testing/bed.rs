//! What the test files of a set say beside their cases: the resources, and who asks in the matrix.
//!
//! Files are taken together. Where two describe one resource differently the first is used, and a note says so.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use palisade_model::{Arguments, Authority, ResourceName, Subject, SubjectKind, Timestamp};

use super::{
    file::{TestFile, TestPersona},
    find,
    principal::{TestPrincipal, TestToken},
};
use crate::{Diagnostic, OnError, ResourceSettings, SourceFile, World, WorldResource};

/// The resources that policies are asked about, as a configuration or test files describe them.
#[derive(Debug, Clone, Default)]
pub struct Deployment {
    /// The resources as policies see them.
    pub world: World,
    /// What else is said of each.
    pub settings: BTreeMap<ResourceName, ResourceSettings>,
    /// What becomes of errors.
    pub on_error: OnError,
    /// Whether this is all there is, so that a resource or scope that is not named here does not exist.
    pub complete: bool,
}

/// Somebody with a name and a token, whom the matrix has a row for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Persona {
    /// The name of the row.
    pub name: String,
    /// Whose authority is used.
    pub subject: Subject,
    /// What the token says, whatever its audience; none without a token.
    pub authority: Option<Authority>,
    /// When they ask.
    pub at: Timestamp,
    /// The resources they are asked about; all where there are none.
    pub resources: BTreeSet<ResourceName>,
}

/// What the test files of a folder say.
#[derive(Debug, Clone, Default)]
pub struct TestBed {
    /// The resources.
    pub deployment: Deployment,
    /// Who asks, in the order of the files.
    pub personas: Vec<Persona>,
    /// The arguments of calls that need some, by the id of the target: `demo/delete_file`.
    pub arguments: BTreeMap<String, Arguments>,
    /// What was left out.
    pub notes: Vec<Diagnostic>,
}

impl TestBed {
    /// Reads every `*.test.yaml` below a folder, or the one file that is named. A folder without any has nobody who
    /// asks, and a deployment that is not complete.
    ///
    /// # Errors
    /// Everything that is wrong with the files and the catalogues they name.
    pub fn read(path: &Path) -> Result<Self, Vec<Diagnostic>> {
        Self::read_all(&[path])
    }

    /// The same of several folders and files, which are taken together.
    ///
    /// # Errors
    /// As those of [`TestBed::read`].
    pub fn read_all(paths: &[&Path]) -> Result<Self, Vec<Diagnostic>> {
        let (mut files, mut problems) = (Vec::new(), Vec::new());
        for path in paths {
            if path.is_file() {
                files.push((*path).to_owned());
            } else {
                find(path, &mut files, &mut problems);
            }
        }
        let mut bed = Self::default();
        bed.deployment.complete = !files.is_empty();
        let mut named = BTreeMap::new();
        for path in files {
            if let Err(found) = bed.add(&path, &mut named) {
                problems.extend(found);
            }
        }
        if problems.is_empty() { Ok(bed) } else { Err(problems) }
    }

    /// `named` has the file of every persona that was named.
    fn add(&mut self, path: &Path, named: &mut BTreeMap<String, String>) -> Result<(), Vec<Diagnostic>> {
        let source = SourceFile::read(path).map_err(|problem| vec![problem])?;
        let tests = TestFile::read(&source).map_err(|problem| vec![problem])?;
        let world = tests.world(path.parent().unwrap_or(Path::new(".")), &source)?;
        if self.deployment.world.resources.is_empty() {
            self.deployment.on_error = tests.on_error;
        }
        for resource in world.resources {
            let settings =
                tests.resources.get(&resource.name).map(super::TestResource::settings).unwrap_or_default();
            self.add_resource(resource, settings, &source);
        }
        self.add_arguments(&tests, &source)?;
        let resources: BTreeSet<ResourceName> = tests.resources.keys().cloned().collect();
        let has_names = !tests.matrix.personas.is_empty();
        for persona in personas(&tests, &source, &resources)? {
            let name = persona.name.clone();
            if self.add_persona(persona, has_names) {
                if has_names {
                    named.entry(name).or_insert_with(|| source.path.clone());
                }
                continue;
            }
            let other = named.get(&name).map_or("the cases of another file", String::as_str);
            let message = format!("the persona `{name}` is somebody else in {other}");
            let problem = Diagnostic::error(&source.path, message);
            return Err(vec![
                problem.help("give one of them another name: a row of the matrix is one person"),
            ]);
        }
        Ok(())
    }

    /// No two rows have one name, or the one would hide what the other may. A name that was given is not changed, one
    /// that was made up is; `false` if that does not help.
    fn add_persona(&mut self, mut persona: Persona, has_name: bool) -> bool {
        let made_up = persona.name.clone();
        let mut number = 1;
        while let Some(known) = self.personas.iter_mut().find(|known| known.name == persona.name) {
            if Self::without_place(known) == Self::without_place(&persona) {
                known.resources.extend(persona.resources);
                return true;
            }
            if has_name {
                return false;
            }
            number += 1;
            persona.name = format!("{made_up} #{number}");
        }
        self.personas.push(persona);
        true
    }

    fn without_place(persona: &Persona) -> (&Subject, &Option<Authority>, Timestamp) {
        (&persona.subject, &persona.authority, persona.at)
    }

    fn add_resource(&mut self, resource: WorldResource, settings: ResourceSettings, file: &SourceFile) {
        let deployment = &mut self.deployment;
        let known = deployment.world.resources.iter().find(|known| known.name == resource.name);
        match known {
            None => {
                deployment.settings.insert(resource.name.clone(), settings);
                deployment.world.resources.push(resource);
            }
            Some(known) => {
                if *known != resource || deployment.settings.get(&resource.name) != Some(&settings) {
                    let message = format!(
                        "the resource `{}` is described differently by another file, which is used",
                        resource.name
                    );
                    self.notes.push(
                        Diagnostic::error(&file.path, message).warning().help("describe it alike in both"),
                    );
                }
            }
        }
    }

    fn add_arguments(&mut self, tests: &TestFile, file: &SourceFile) -> Result<(), Vec<Diagnostic>> {
        for (target, value) in &tests.matrix.arguments {
            let arguments = Arguments::from_json(value).map_err(|error| {
                vec![Diagnostic::error(&file.path, format!("matrix: the arguments of `{target}`: {error}"))]
            })?;
            self.arguments.insert(target.clone(), arguments);
        }
        Ok(())
    }
}

fn personas(
    tests: &TestFile,
    file: &SourceFile,
    resources: &BTreeSet<ResourceName>,
) -> Result<Vec<Persona>, Vec<Diagnostic>> {
    let mut personas: Vec<Persona> = Vec::new();
    let mut problems = Vec::new();
    for persona in &tests.matrix.personas {
        let line = usize::try_from(persona.name.referenced.line()).unwrap_or_default();
        let complain = |message: String| Diagnostic::error(&file.path, message).at((line, 1));
        let taken = personas.iter().any(|other| other.name == persona.name.value);
        match persona.persona(resources) {
            Ok(_) if taken => {
                problems.push(complain(format!("the persona `{}` is given twice", persona.name.value)));
            }
            Ok(persona) => personas.push(persona),
            Err(problem) => problems.push(complain(problem)),
        }
    }
    if tests.matrix.personas.is_empty() {
        for case in &tests.cases {
            // A case that makes no question is what `policy test` complains about.
            personas.extend(nameless(&case.principal, &case.token, case.at.0, resources));
        }
    }
    if problems.is_empty() { Ok(personas) } else { Err(problems) }
}

impl TestPersona {
    fn persona(&self, resources: &BTreeSet<ResourceName>) -> Result<Persona, String> {
        let subject = self.principal.subject()?;
        Ok(Persona {
            name: self.name.value.clone(),
            authority: self.token.authority(&subject, "", self.at.0)?,
            subject,
            at: self.at.0,
            resources: resources.clone(),
        })
    }
}

/// Somebody from a case: the name is all that is said of them.
fn nameless(
    principal: &TestPrincipal,
    token: &TestToken,
    at: Timestamp,
    resources: &BTreeSet<ResourceName>,
) -> Result<Persona, String> {
    let subject = principal.subject()?;
    let authority = token.authority(&subject, "", at)?;
    let mut name = match subject.kind {
        SubjectKind::Anonymous => "anonymous".to_owned(),
        SubjectKind::User | SubjectKind::Client => subject.id.clone(),
        SubjectKind::Own(_) => subject.entity(),
    };
    let mut add = |what: &str, values: Vec<String>| {
        if !values.is_empty() {
            name.push_str(&format!(" {what}={}", values.join(",")));
        }
    };
    add("with", subject.supplied.iter().map(|(name, value)| format!("{name}:{value}")).collect());
    add("roles", subject.roles.iter().cloned().collect());
    add("groups", subject.groups.iter().cloned().collect());
    add("tenant", subject.tenant.iter().cloned().collect());
    for (tag, values) in &subject.tags {
        add(tag, values.iter().cloned().collect());
    }
    if let Some(authority) = &authority {
        add("scopes", authority.scopes.iter().map(ToString::to_string).collect());
        add("client", authority.client.iter().cloned().collect());
        add("actors", authority.actors.clone());
        add("acr", authority.acr.iter().cloned().collect());
        add("amr", authority.amr.iter().cloned().collect());
        add("auth_time", authority.auth_time.iter().map(ToString::to_string).collect());
        if authority.auth_time.is_some() {
            add("at", vec![at.to_string()]);
        }
    }
    Ok(Persona { name, subject, authority, at, resources: resources.clone() })
}
