/** A notebook, put into the bundle when it is built. */
declare module "*.ipynb" {
  const notebook: { [key: string]: unknown };
  export default notebook;
}
