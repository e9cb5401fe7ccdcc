//! System calls as data: a name, and arguments as values. The text of a call is made from them, in the form in which
//! strace(1) prints it, and is never parsed.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

/// The name of a call, an argument or a constant: fixed in Rust, or given by Python.
pub type Name = Cow<'static, str>;

/// The value of an argument; each variant names its form in Python.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// NULL. Python: None.
    Null,
    /// A number. Python: int.
    Number(i64),
    /// A number that is printed in octal. Python: int.
    Octal(u32),
    /// Constants by name, with `|` between them. Python: a tuple of str; empty for 0.
    Flags(Vec<Name>),
    /// A path or another text. Python: str, decoded by `os.fsdecode`.
    Text(Vec<u8>),
    /// Texts of which the first that works is used. Python: a list of str.
    Choice(Vec<Vec<u8>>),
    /// A descriptor, by the name of its file. Python: a dict with the key `file`.
    File(Name),
    /// An array. Python: a list.
    List(Vec<Value>),
    /// A structure. Python: a dict.
    Fields(Vec<(Name, Value)>),
    /// Lines of an id map (user_namespaces(7)). Python: a tuple of tuples (inside, outside, count).
    Rows(Vec<[u32; 3]>),
    /// The number of environment variables. Python: int.
    Variables(u32),
}

impl Value {
    /// A constant.
    pub fn constant(name: &'static str) -> Value {
        Value::Flags(vec![name.into()])
    }

    /// A text, which may have the NUL of a C string at its end.
    pub fn text(text: impl AsRef<[u8]>) -> Value {
        Value::Text(without_nul(text.as_ref()).to_vec())
    }

    /// A text, or NULL if it is empty.
    pub fn text_or_null(text: impl AsRef<[u8]>) -> Value {
        if text.as_ref().is_empty() { Value::Null } else { Value::text(text) }
    }

    /// An array of texts.
    pub fn texts<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Value {
        Value::List(texts.into_iter().map(Value::text).collect())
    }
}

impl<T: Into<i64>> From<T> for Value {
    fn from(number: T) -> Value {
        Value::Number(number.into())
    }
}

fn without_nul(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\0").unwrap_or(text)
}

/// A system call, or a program that is run, with its arguments.
#[pyclass(frozen, eq, module = "nsbox._core")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    name: Name,
    arguments: Vec<(Name, Value)>,
    is_program: bool,
}

/// A system call. The names of the arguments are those of its manual page.
pub fn call<const N: usize>(name: &'static str, arguments: [(&'static str, Value); N]) -> Call {
    let arguments = arguments.into_iter().map(|(name, value)| (name.into(), value)).collect();
    Call { name: name.into(), arguments, is_program: false }
}

/// A program with its arguments.
pub fn program<const N: usize>(name: &'static str, arguments: [(&'static str, Value); N]) -> Call {
    Call { is_program: true, ..call(name, arguments) }
}

/// open(2) and write(2) of a file.
pub fn write(path: impl AsRef<[u8]>, data: Value) -> Call {
    call("write", [("path", Value::text(path)), ("buf", data)])
}

/// Calls one after the other, as text.
pub fn text_of(calls: &[Call]) -> String {
    calls.iter().map(Call::to_string).collect::<Vec<_>>().join("; ")
}

#[pymethods]
impl Call {
    /// Make a system call; the keywords are the names of the arguments in its manual page. An int, None or a str is itself, a
    /// tuple of str are constants by name, a list is an array, a dict a structure, or with the key `file` alone a descriptor
    /// by the name of its file; a tuple of tuples of three ints are lines of an id map.
    ///
    /// Raises TypeError for other values.
    #[new]
    #[pyo3(signature = (name, /, **arguments: "object"))]
    fn new(name: String, arguments: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let mut call = Call { name: name.into(), arguments: Vec::new(), is_program: false };
        for (name, value) in arguments.iter().flat_map(|arguments| arguments.iter()) {
            call.arguments.push((name.extract::<String>()?.into(), from_python(&value)?));
        }
        Ok(call)
    }

    /// Make the start of a program; the keywords name its arguments.
    ///
    /// Raises TypeError for other values.
    #[staticmethod]
    #[pyo3(name = "program", signature = (name, /, **arguments: "object"))]
    fn from_program(name: String, arguments: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        Ok(Call { is_program: true, ..Self::new(name, arguments)? })
    }

    /// The name of the system call or program.
    #[getter]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is a program.
    #[getter]
    fn is_program(&self) -> bool {
        self.is_program
    }

    /// The arguments in order: the name and the value of each.
    #[getter]
    fn arguments(&self, py: Python<'_>) -> PyResult<Vec<(&str, Py<PyAny>)>> {
        self.arguments.iter().map(|(name, value)| Ok((name.as_ref(), to_python(py, value)?.unbind()))).collect()
    }

    fn __str__(&self) -> String {
        self.to_string()
    }

    fn __repr__(&self) -> String {
        format!("<call {self}>")
    }
}

impl fmt::Display for Call {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_program {
            out.write_str(&self.name)?;
            return self.arguments.iter().try_for_each(|(_, value)| write!(out, " {}", Word(value)));
        }
        write!(out, "{}({})", self.name, Joined(self.arguments.iter().map(|(_, value)| value)))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => out.write_str("NULL"),
            Value::Number(number) => number.fmt(out),
            Value::Octal(number) => write!(out, "{number:#o}"),
            Value::Flags(names) if names.is_empty() => out.write_str("0"),
            Value::Flags(names) => out.write_str(&names.join("|")),
            Value::Text(text) => out.write_str(&quoted(text)),
            Value::Choice(texts) => {
                out.write_str(&texts.first().map(|text| quoted(text)).unwrap_or_default())?;
                if texts.len() > 1 { write!(out, " or {} more", texts.len() - 1) } else { Ok(()) }
            }
            Value::File(name) => write!(out, "<{name}>"),
            Value::List(values) => write!(out, "[{}]", Joined(values.iter())),
            Value::Fields(fields) => {
                let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(out, "{{{}}}", fields.join(", "))
            }
            Value::Rows(rows) => {
                let lines: String = rows.iter().map(|row| spaced(row) + "\n").collect();
                out.write_str(&quoted(lines.as_bytes()))
            }
            Value::Variables(1) => out.write_str("1 variable"),
            Value::Variables(count) => write!(out, "{count} variables"),
        }
    }
}

/// Values with commas between them.
struct Joined<I>(I);

impl<'a, I: Iterator<Item = &'a Value> + Clone> fmt::Display for Joined<I> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, value) in self.0.clone().enumerate() {
            write!(out, "{}{value}", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// A value as an argument of a program: without quotes.
struct Word<'a>(&'a Value);

impl fmt::Display for Word<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Text(text) => write!(out, "{}", text.escape_ascii()),
            Value::Rows(rows) => out.write_str(&rows.iter().map(spaced).collect::<Vec<_>>().join(" ")),
            value => value.fmt(out),
        }
    }
}

fn spaced(row: &[u32; 3]) -> String {
    row.map(|number| number.to_string()).join(" ")
}

/// A text as a C string literal.
fn quoted(text: &[u8]) -> String {
    let escaped = text.iter().map(|&byte| match byte {
        b'\'' => "'".to_string(),
        byte => byte.escape_ascii().to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

fn to_python<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    let path = |text: &[u8]| std::ffi::OsStr::from_bytes(text).into_pyobject(py);
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Number(number) => number.into_pyobject(py)?.into_any(),
        Value::Octal(number) | Value::Variables(number) => number.into_pyobject(py)?.into_any(),
        Value::Flags(names) => PyTuple::new(py, names.iter().map(AsRef::<str>::as_ref))?.into_any(),
        Value::Text(text) => path(text)?.into_any(),
        Value::Choice(texts) => {
            let texts: Vec<_> = texts.iter().map(|text| path(text)).collect::<Result<_, _>>()?;
            PyList::new(py, texts)?.into_any()
        }
        Value::File(name) => {
            let found = PyDict::new(py);
            found.set_item("file", name.as_ref())?;
            found.into_any()
        }
        Value::List(values) => {
            let values: Vec<_> = values.iter().map(|value| to_python(py, value)).collect::<PyResult<_>>()?;
            PyList::new(py, values)?.into_any()
        }
        Value::Fields(fields) => {
            let found = PyDict::new(py);
            for (name, value) in fields {
                found.set_item(name.as_ref(), to_python(py, value)?)?;
            }
            found.into_any()
        }
        Value::Rows(rows) => {
            let rows: Vec<_> = rows.iter().map(|row| PyTuple::new(py, row)).collect::<PyResult<_>>()?;
            PyTuple::new(py, rows)?.into_any()
        }
    })
}

fn from_python(value: &Bound<'_, PyAny>) -> PyResult<Value> {
    if value.is_none() {
        return Ok(Value::Null);
    }
    if let Ok(text) = value.cast::<PyBytes>() {
        return Ok(Value::text(text.as_bytes()));
    }
    if value.is_instance_of::<PyString>() {
        return Ok(Value::Text(value.extract::<OsString>()?.into_vec()));
    }
    if let Ok(tuple) = value.cast::<PyTuple>() {
        if tuple.get_item(0).is_ok_and(|first| first.is_instance_of::<PyTuple>()) {
            return Ok(Value::Rows(tuple.extract::<Vec<(u32, u32, u32)>>()?.into_iter().map(Into::into).collect()));
        }
        return Ok(Value::Flags(tuple.extract::<Vec<String>>()?.into_iter().map(Cow::Owned).collect()));
    }
    if let Ok(list) = value.cast::<PyList>() {
        return Ok(Value::List(list.iter().map(|value| from_python(&value)).collect::<PyResult<_>>()?));
    }
    if let Ok(fields) = value.cast::<PyDict>() {
        if let (1, Some(file)) = (fields.len(), fields.get_item("file")?) {
            return Ok(Value::File(file.extract::<String>()?.into()));
        }
        let field = |(name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
            Ok((name.extract::<String>()?.into(), from_python(&value)?))
        };
        return Ok(Value::Fields(fields.iter().map(field).collect::<PyResult<_>>()?));
    }
    match value.extract::<i64>() {
        Ok(number) if !value.is_instance_of::<pyo3::types::PyBool>() => Ok(Value::Number(number)),
        _ => Err(PyTypeError::new_err(format!("no argument of a call can be {}", value.repr()?))),
    }
}
