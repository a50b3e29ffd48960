use lovage::task;

struct Shop;

impl Shop {
    #[task]
    async fn restock(&self, article: String) {}
}

fn main() {}
