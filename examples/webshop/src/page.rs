//! The pages: rendered here, whole without a script; a little one keeps the list of orders up to date.

use std::fmt::Write as _;

use crate::form::{Problem, Wish};
use crate::mails::Mail;
use crate::order::{CATALOGUE, euros};
use crate::shop::Shop;
use crate::web::View;

pub(crate) const STYLE: &str = include_str!("page.css");
pub(crate) const SCRIPT: &str = include_str!("page.js");

/// What stands in the form and above it.
#[derive(Debug, Default)]
pub(crate) struct FormState {
    /// The number of the order that was just taken.
    pub(crate) placed: Option<u64>,
    /// The key of the form; a new one if there is none.
    pub(crate) key: Option<String>,
    /// What was typed in.
    pub(crate) wish: Wish,
    /// What was wrong with it.
    pub(crate) problems: Vec<Problem>,
}

/// The page of the shop. `read` is the line of the journal up to which its orders are told.
pub(crate) fn home(state: &FormState, orders: &[View], read: usize, has_mails: bool) -> String {
    let mut page = head("Tea & Cups");
    let mails = if has_mails {
        "<a href=\"/mails\">Mails that went out</a>"
    } else {
        ""
    };
    let _infallible = write!(
        page,
        "<header><h1>Tea &amp; Cups</h1>{mails}</header>\n<main>\n"
    );
    page.push_str(&form(state));
    let _infallible = write!(
        page,
        "<section>\n<h2>Orders <span id=\"live\" hidden>live</span></h2>\n\
         <table>\n<thead><tr><th>No.</th><th>For</th><th>What</th><th>Total</th><th>Receipt</th><th>State</th></tr></thead>\n\
         <tbody id=\"orders\" data-read=\"{read}\">\n"
    );
    for order in orders {
        page.push_str(&row(order));
    }
    let hidden = if orders.is_empty() { "" } else { " hidden" };
    let _infallible = write!(
        page,
        "</tbody>\n</table>\n<p id=\"none\"{hidden}>Nobody has ordered anything yet.</p>\n</section>\n</main>\n\
         <script src=\"/webshop.js\"></script>\n"
    );
    page
}

fn form(state: &FormState) -> String {
    let mut form = String::from("<section>\n<h2>Order</h2>\n");
    if let Some(number) = state.placed {
        let _infallible = writeln!(
            form,
            "<p class=\"good\" role=\"status\">Thank you! Your order has number {number}.</p>"
        );
    }
    for problem in state
        .problems
        .iter()
        .filter(|problem| problem.field == "form")
    {
        let _infallible = writeln!(
            form,
            "<p class=\"bad\" role=\"alert\">{}</p>",
            escape(&problem.message)
        );
    }
    let key = state.key.clone().unwrap_or_else(Shop::new_key);
    let _infallible = write!(
        form,
        "<form method=\"post\" action=\"/orders\">\n<input type=\"hidden\" name=\"key\" value=\"{}\">\n",
        escape(&key)
    );
    let wish = &state.wish;
    form.push_str(&field(state, "name", "Your name", &format!(
        "<input id=\"name\" name=\"name\" autocomplete=\"name\" required maxlength=\"100\" value=\"{}\">",
        escape(&wish.name)
    )));
    form.push_str(&field(state, "email", "Where the receipt goes", &format!(
        "<input id=\"email\" name=\"email\" type=\"email\" autocomplete=\"email\" required maxlength=\"254\" value=\"{}\">",
        escape(&wish.email)
    )));
    let mut select = String::from("<select id=\"product\" name=\"product\">\n");
    for product in CATALOGUE {
        let selected = if product.code == wish.product {
            " selected"
        } else {
            ""
        };
        let _infallible = writeln!(
            select,
            "<option value=\"{}\"{selected}>{}, {}</option>",
            product.code,
            escape(product.title),
            euros(product.cents)
        );
    }
    select.push_str("</select>");
    form.push_str(&field(state, "product", "What", &select));
    let quantity = if wish.quantity.is_empty() {
        "1"
    } else {
        &wish.quantity
    };
    form.push_str(&field(state, "quantity", "How many", &format!(
        "<input id=\"quantity\" name=\"quantity\" type=\"number\" min=\"1\" max=\"99\" required value=\"{}\">",
        escape(quantity)
    )));
    form.push_str("<button>Order</button>\n</form>\n</section>\n");
    form
}

fn field(state: &FormState, name: &str, label: &str, input: &str) -> String {
    let mut field = format!("<label for=\"{name}\">{label}</label>\n{input}\n");
    for problem in state
        .problems
        .iter()
        .filter(|problem| problem.field == name)
    {
        let _infallible = writeln!(
            field,
            "<p class=\"bad\" role=\"alert\">{}</p>",
            escape(&problem.message)
        );
    }
    field
}

/// One order. The script makes rows of the same shape.
fn row(order: &View) -> String {
    format!(
        "<tr data-number=\"{number}\"><td>{number}</td><td>{name}</td><td>{what}</td><td>{total}</td><td>{receipt}</td>\
         <td><span class=\"step {step}\">{step}</span></td></tr>\n",
        number = order.number,
        name = escape(&order.name),
        what = escape(&order.what),
        total = order.total,
        receipt = if order.receipt_sent { "sent" } else { "–" },
        step = order.step,
    )
}

/// The list of mails.
pub(crate) fn mails(mails: &[Mail]) -> String {
    let mut page = head("Mails that went out");
    page.push_str("<header><h1>Mails that went out</h1><a href=\"/\">The shop</a></header>\n<main><section>\n");
    if mails.is_empty() {
        page.push_str("<p>None yet.</p>\n");
    } else {
        page.push_str("<table>\n<thead><tr><th>To</th><th>Subject</th></tr></thead>\n<tbody>\n");
    }
    for mail in mails {
        let _infallible = writeln!(
            page,
            "<tr><td>{}</td><td><a href=\"/mails/{}\">{}</a></td></tr>",
            escape(&mail.to),
            escape(&mail.name),
            escape(&mail.subject)
        );
    }
    if !mails.is_empty() {
        page.push_str("</tbody>\n</table>\n");
    }
    page.push_str("</section></main>\n");
    page
}

fn head(title: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{}</title>\n<link rel=\"stylesheet\" href=\"/webshop.css\">\n",
        escape(title)
    )
}

/// Text that stays text, inside an attribute as well.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
